"""Sources of expert choices: which experts each token of a step asks for, by layer.

``balanced`` and ``hot`` are formulas; ``zipf``, ``log_normal`` and ``dirichlet`` draw from a popularity that may drift;
``counts`` and ``trace`` repeat what was measured. Whatever is random comes from the generator of the call or from the
``key`` of the source, so choices of a step and layer do not depend on which others were asked for before.
"""
