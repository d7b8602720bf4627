"""fedvm.chain"""
