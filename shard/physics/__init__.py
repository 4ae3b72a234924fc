"""Rigid bodies: ``space`` owns pymunk's space, ``exchange`` moves columns in and out of it."""
