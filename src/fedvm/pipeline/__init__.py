"""fedvm.pipeline"""
