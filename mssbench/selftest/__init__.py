"""Self-test of the harness: does it measure known times, and notice methods wrong on purpose?"""
