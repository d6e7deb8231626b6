"""`farm serve`: runs, boards and figures as pages in a browser.

The server reads the logs of runs, the fleet log, the inventory and the store; with actions allowed
it also writes into the fleet log and starts commands of farm. No run knows of it, so a page that is
slow, or a server that dies, harms none.
"""
