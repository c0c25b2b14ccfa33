// Runs before MLflow's UI and sets what the UI reads from the browser's storage. A view is written
// once for each version, so that later changes by the user stay.
(experiments, view, version, start) => {
  const set = (key, value) => localStorage.setItem(key, value);
  const preset = (key, value) => localStorage.getItem(key) === null && set(key, value);
  preset("mlflow.workflowType_v1", '"machine_learning"');
  preset("mlflow.assistant.fab.autoOpenedOnFirstLoad_v1", "true"); // the panel covers half of the table
  for (const [id, created] of Object.entries(experiments)) {
    const [key, current] = [`keyneurons.view.${id}`, `${created} ${version}`];
    if (localStorage.getItem(key) === current) continue;
    set(`MLflowLocalStorage-1.1-ExperimentPage-["${id}"]-ReactComponentState`, view);
    set("mlflow.assistant.panelOpen_v1", "false");
    set(key, current);
  }
  if (location.hash === "" && start) history.replaceState(null, "", start);
}
