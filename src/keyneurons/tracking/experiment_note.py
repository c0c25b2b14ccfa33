"""The description of a new MLflow experiment."""

EXPERIMENT_NOTE = """\
Runs of `keyneurons`: key neurons of grammatical tags in a language model, each set beside matched controls.
A sweep is one parent run with its runs below it; its description has the best runs and a link to a comparison.

| column | meaning |
|---|---|
| `choice.selection`, `site`, `layer`, `top_k` | method, place in the block, layers, and key neurons of each tag |
| `probe/test_accuracy` | share of the test words whose tag a linear probe on the key neurons predicts |
| `worth/neurons` | number of random neurons with the same accuracy; more is better |
| `probe/advantage` | accuracy minus that of random sets of the same size |
| `verdict/special` | better than random neurons: 0 no, 1 yes, 2 also than neurons chosen without tags |
| `verdict/beyond_form` | 1 if better than the form of the word alone |
| `verdict/grammar` | 1 if better than neurons selected for labels without grammar |
| `probe/specificity` | the difference behind `verdict/grammar` |
| `control/random/test_accuracy`, `control/NAME/...` | the controls |
| `selection/union_size` | number of different key neurons |
| `selection/union_fraction` | their share of all neurons read |
| `stability/halves/jaccard` | agreement of the sets of two halves of the text |
| `selection/one_ranking` | 1 if the method ranks neurons equally for all tags |

Tables (the table view of the runs page) show key neurons, overlaps and F1 of several runs side by side; the compare
page shows their figures. The definitions are in `docs/statistics.md`, the files of a run in `docs/file_formats.md`.
"""
