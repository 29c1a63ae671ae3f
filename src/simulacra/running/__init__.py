"""One run from a resolved configuration: a training, a generation, an application. Commands and studies call
it, and it prints nothing.
"""
