"""What is served: the artifact, the registry and the scorer. Imports neither dagster nor scikit-learn."""
