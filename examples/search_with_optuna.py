"""Search over layer, top_k and the elastic-net penalty with Optuna's ask-and-tell interface.

Run ``pip install optuna`` and ``python examples/search_with_optuna.py [--trials 20] [OVERRIDES]``.
Every trial is an ordinary tracked run. Trials are compared by accuracy on dev; the test accuracy is
reported once, for the best trial.
"""

from __future__ import annotations

import argparse

import optuna

import keyneurons


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--layers", type=int, default=30, help="number of layers of the model")
    parser.add_argument("overrides", nargs="*", help="overrides of all trials: dataset=... model=...")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=0))
    for _ in range(options.trials):
        trial = study.ask()
        layer = trial.suggest_int("layer", 0, options.layers - 1)
        top_k = trial.suggest_int("top_k", 2, 50, log=True)
        penalty = trial.suggest_float("l1", 1e-4, 1e-2, log=True)
        choices = [f"layer={layer}", f"top_k={top_k}", f"selection.l1={penalty:.4g}"]
        result = keyneurons.run("selection=elastic_net", *choices, "reliability.halves=0", *options.overrides)
        trial.set_user_attr("run", result.id)
        study.tell(trial, result.metrics["probe/dev_accuracy"])
        print(f"{' '.join(choices)}: dev accuracy {result.metrics['probe/dev_accuracy']:.3f}, run {result.id}")
    best = study.best_trial
    run = keyneurons.load_run(best.user_attrs["run"], *[o for o in options.overrides if o.startswith("tracking")])
    print(f"best on dev: run {run.id}, {best.params}")
    accuracy, advantage = run.metrics["probe/test_accuracy"], run.metrics["probe/advantage"]
    print(f"test accuracy {accuracy:.3f}, advantage over random sets {advantage:+.3f}")


if __name__ == "__main__":
    main()
