"""fedvm.encoding"""
