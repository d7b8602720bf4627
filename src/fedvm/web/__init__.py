"""The pages of a federation, for people: who trains, by which rules, who was refused and why, what was decided.

The chain's events are read into an index (`database`, `sync`), a SQLite file that can be thrown away at any time.
Pages read the index and the store only. `app` serves them, `export` writes them as a static site.

"""
