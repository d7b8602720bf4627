"""fedvm.compiler"""
