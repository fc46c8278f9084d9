"""The stages, one folder each; they meet on disk and never import each other."""
