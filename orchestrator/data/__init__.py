"""What is measured and computed on boards, as it goes from the wire to the stages and the store.

One type for one datum: the session's decoder makes it, and nobody copies it into another type.
"""
