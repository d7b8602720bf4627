"""fedvm.learning"""
