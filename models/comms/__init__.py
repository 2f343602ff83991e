"""Cost of communication: collectives, All2All kernels, point to point, and message profiles for the simulator."""
