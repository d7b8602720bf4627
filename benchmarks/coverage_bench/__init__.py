"""What people export: lists of models of scikit-learn, Keras, PyTorch and for EZKL, and what becomes of each."""
