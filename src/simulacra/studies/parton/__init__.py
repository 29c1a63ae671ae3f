"""Studies of what final states tell of the partons behind them, on showers that are written down."""
