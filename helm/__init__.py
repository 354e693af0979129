"""The Helm chart, and what writes the generated part of its README."""
