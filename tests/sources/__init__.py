"""Samples of sources, each with the test that loads it, as `dpa sources new` writes them."""
