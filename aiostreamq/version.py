"""The version of this package, in the only place that says it: the build reads it here.

The metadata of the installed package has it too, but takes 20 ms to read.
"""

__version__ = "0.1.0"
