"""Texts that try to be more than text."""

HOSTILE_TEXTS = (
    "<script>alert(1); window.__hit = 1</script>",
    "<img src=x onerror=alert(window.__hit=1)>",
    "</pre></dd></article></body><iframe src=javascript:alert(window.__hit=1)>",
    '" onmouseover="alert(window.__hit=1)',
    "' onfocus='alert(window.__hit=1)' autofocus='",
    "[x](javascript:alert(1))",
    "![x](https://tracker.example/pixel.png) <https://tracker.example> https://tracker.example",
    "{{ 7*7 }} {% raw %} ${7*7} {{ self.__init__.__globals__ }}",
    "# heading\n- item\n> quote\n| a | b |\n|---|---|\n\n    code\n***\n`code` ~~gone~~ **bold** _slant_",
    "&lt;script&gt; &#60;b&#62; &amp; </script><svg onload=alert(window.__hit=1)>",
    "\u202egnp.exe \u2066isolate",
    "family \U0001f468\u200d\U0001f469\u200d\U0001f467 and \U0001f600",
    "nul \x00 escape \x1b[31mred\x1b[0m \x07 \x7f \x9b31m",
    "long " + "x" * 100_000,
)


PRINTABLE = [text for text in HOSTILE_TEXTS if all(c.isprintable() or c in "\n\u200d" for c in text)]


HOSTILE_NAMES = [
    "", ".", "..", "/", "~", "~/x", "../x", "../../etc/passwd", "..\\x", "/etc/passwd", "/3_train/n_1a2b3c4d",
    "3_train/../x_1a2b3c4d", "3_train/..", "3_train/n_1a2b3c4d/../../x", "3_train//n_1a2b3c4d", "3_train/n_1a2b3c4d/",
    "train-1a2b3c4d/", "train-1a2b3c4d/../x", "train-1a2b3c4d\n", "3_train/n_1a2b3c4d\n", "\0", "train-1a2b3c4d\0",
    "3_train/n\0_1a2b3c4d", "%2e%2e%2fx", "3_train/%2e%2e_1a2b3c4d", "train-%31a2b3c4", "..%c0%afx", "．．／x",
    "train-１a2b3c4d", "train-1a2b3c4d ", "\u202etrain-1a2b3c4d", "file:///etc/passwd", "memory://x/y", "s3://b/x",
    "C:\\x", "*", "3_train/*_1a2b3c4d", "-rf", "$HOME", "a" * 5000,
]  # fmt: skip
