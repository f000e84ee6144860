"""Foveola: similar-case search for retinal photographs."""
