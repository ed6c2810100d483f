"""What is personal to a site: its code (PFM), and how a trained network learns a new site or contrast (`growth`)."""

from __future__ import annotations

from model.personal.pfm import SITE_WIDTH, UNKNOWN, SiteCode

__all__ = ["SITE_WIDTH", "UNKNOWN", "SiteCode"]
