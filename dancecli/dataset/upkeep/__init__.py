"""Take clips out of a workspace on request, and free what nothing names any more."""
