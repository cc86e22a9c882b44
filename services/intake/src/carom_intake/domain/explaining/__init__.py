"""Where a job is, why it waits and what happens next, in words and as codes. Pure; the words say no more than is known.

The record says what was decided, `Around` what holds now: a pause may be newer than the last look of any executor, and
what a job was held for may be over. Both are told apart.
"""
