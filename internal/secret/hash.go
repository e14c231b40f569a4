package secret

import (
	"crypto/subtle"
	"strings"

	"golang.org/x/crypto/bcrypt"
)

// IsHash reports whether s looks like a bcrypt hash ($2a$, $2b$ or $2y$).
func IsHash(s string) bool {
	return strings.HasPrefix(s, "$2a$") || strings.HasPrefix(s, "$2b$") || strings.HasPrefix(s, "$2y$")
}

// Matches reports whether given is the credential want, which is clear text or
// a bcrypt hash of it. The time it takes for clear text does not depend on
// where the two differ.
func Matches(want, given string) bool {
	if IsHash(want) {
		return bcrypt.CompareHashAndPassword([]byte(want), []byte(given)) == nil
	}
	return subtle.ConstantTimeCompare([]byte(want), []byte(given)) == 1
}
