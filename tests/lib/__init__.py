"""Test helpers: servers, kill tools, small builders."""
