# cython: language_level=3
"""The floor without compression: receive only."""

from bench_floor cimport Base


cdef class Floor(Base):
    pass
