"""Is tonight's data what training should go on from? Checks of a new catalog before it replaces the accepted one."""
