"""Does a bundle compute in any runtime what it was published to compute? Measured, one process a runtime.

cases.py       what is run: every graph on its golden vectors, and a whole sample, as data that any runtime can be fed
runtimes.py    which runtimes there are, where each is found, and how it is installed
engines.py     the runtimes that Python drives
node.py        those that node drives, through driver.mjs
worker.py      the process that runs one runtime, and says how far it came
matrix.py      starts the workers and puts together what they said
stored.py      the matrix in a bundle, for its card
"""
