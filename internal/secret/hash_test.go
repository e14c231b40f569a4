package secret_test

import (
	"testing"

	"clink/internal/secret"

	"golang.org/x/crypto/bcrypt"
)

func TestMatches(t *testing.T) {
	hash, err := bcrypt.GenerateFromPassword([]byte("s3cret"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, want, given string
		ok                bool
	}{
		{"clear", "s3cret", "s3cret", true},
		{"clear, wrong", "s3cret", "S3cret", false},
		{"clear, shorter", "s3cret", "s3c", false},
		{"hash", string(hash), "s3cret", true},
		{"hash, wrong", string(hash), "other", false},
		{"the hash itself is no password", string(hash), string(hash), false},
		{"damaged hash", "$2a$nonsense", "$2a$nonsense", false},
	}
	for _, tt := range tests {
		if got := secret.Matches(tt.want, tt.given); got != tt.ok {
			t.Errorf("%s: Matches = %v, want %v", tt.name, got, tt.ok)
		}
	}
}
