"""Tests of `aiostreamq.contrib`: applications of each framework, under its real server."""
