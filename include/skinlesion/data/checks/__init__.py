"""Checks of a new catalog before it replaces the accepted one: is it data that training should use?"""
