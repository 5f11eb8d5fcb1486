"""Model surgery: load → trace → locate → plan → splice → verify, and the artifact.

A *site* is a place in a network where an edit applies; a plan has one :class:`~.sites.site.Site` for each.
"""
