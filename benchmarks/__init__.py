"""Benchmarks: aiostreamq beside a hand-written loop and six other task queues.

``README.md`` holds the method and the tables, ``all.py`` runs everything.
"""
