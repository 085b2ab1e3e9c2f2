"""Rarebit on one machine: all its processes in one tree, and the command line for people."""
