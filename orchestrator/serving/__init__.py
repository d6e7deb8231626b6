"""`farm serve`: runs, boards and figures as pages in a browser.

The server only reads: the logs of runs, the fleet log, the inventory and the store. No run knows of
it, so a page that is slow, or a server that dies, harms none.
"""
