"""Forward methods, which compute A^{1/2} and A^{-1/2}: one method per file.

Every module in this folder is imported when the registry is loaded; there is no list.
"""
