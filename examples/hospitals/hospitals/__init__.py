"""Hospitals that learn together to tell benign tumours from malignant ones."""
