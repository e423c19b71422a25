"""The dashboard in a real browser, headless: Playwright's Python package with Debian's chromium."""
