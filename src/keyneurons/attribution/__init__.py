"""Attribution of word predictions to neurons by gradients through the model."""
