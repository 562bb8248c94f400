"""A site and its wishes: what to visit next, robots.txt, opt-outs, sitemaps and feeds, the archive of answers."""
