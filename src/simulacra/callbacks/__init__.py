"""Lightning callbacks: physics validation, the classifier test, moving averages, determinism, throughput."""
