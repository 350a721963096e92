package capture

import (
	"regexp"
	"strings"

	"github.com/uspbridge/uspbridge/cwmp"
)

// Mask stands for a secret, of whatever length it was.
const Mask = "********"

// assignment finds what a text says of a secret itself: a vendor's whole
// configuration, or a command line, in one value.
var assignment = regexp.MustCompile(`(?i)(pass(word|wd|phrase|code)?|pwd|secret|psk|token|(api|auth|enc|priv|private|shared|wep)[_-]?key|community)["']?\s*[=:]\s*\S`)

// tellsSecret reports whether a text has such an assignment in it.
func tellsSecret(text []byte) bool {
	for _, c := range text {
		if c == '=' || c == ':' {
			return assignment.Match(text)
		}
	}
	return false
}

// The parts of a URL that let somebody in.
var (
	userinfo    = regexp.MustCompile(`([A-Za-z][A-Za-z0-9+.-]*://)\S*@`) // up to the last @: passwords have "@" and "/" in them
	sipPassword = regexp.MustCompile(`(?i)(\bsips?:[^\s:@]+:)\S*@`)
	queryPart   = regexp.MustCompile(`([?&](?:amp;)?)([^=&?#\s]+)=([^&#\s]*)`)
)

// maskURLs masks the user names and passwords of the URLs in a text, and of their
// queries the values whose names say secret, or all.
func maskURLs(text string, allQueries bool) string {
	if strings.Contains(text, "@") {
		text = sipPassword.ReplaceAllString(text, "${1}"+Mask+"@")
		text = userinfo.ReplaceAllString(text, "${1}"+Mask+"@")
	}
	if !strings.Contains(text, "://") || !strings.Contains(text, "?") {
		return text
	}
	return queryPart.ReplaceAllStringFunc(text, func(part string) string {
		m := queryPart.FindStringSubmatch(part)
		if m[3] == "" || !allQueries && !secretQuery(m[2]) {
			return part
		}
		return m[1] + m[2] + "=" + Mask
	})
}

// secretQuery tells the names of query values that let somebody in, signatures of
// presigned URLs among them.
func secretQuery(name string) bool {
	lower := strings.ToLower(name)
	return cwmp.Path(name).NamesSecret() || strings.Contains(lower, "sig") || strings.Contains(lower, "auth") || strings.Contains(lower, "pass")
}

// isTruth tells the values of booleans: they are no secrets, whatever their name.
func isTruth(text string) bool {
	switch strings.ToLower(text) {
	case "", "0", "1", "true", "false":
		return true
	}
	return false
}
