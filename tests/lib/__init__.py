"""Helpers of the tests: servers, kill tools, small builders."""
