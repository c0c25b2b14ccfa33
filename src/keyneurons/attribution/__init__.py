"""What each neuron adds to the prediction of a word, by gradients through the model."""
