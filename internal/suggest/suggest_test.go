package suggest_test

import (
	"testing"

	"clink/internal/suggest"
)

func TestDistance(t *testing.T) {
	tests := []struct {
		a, b string
		most int
		want int
	}{
		{"", "", 3, 0},
		{"topics", "topics", 3, 0},
		{"topics", "topic", 3, 1},
		{"tpoics", "topics", 3, 1}, // two swapped
		{"tapics", "topics", 3, 1},
		{"", "abc", 3, 3},
		{"kitten", "sitting", 3, 3},
		{"kitten", "sitting", 2, 3}, // too far: one more than asked for
		{"a", "bcdefgh", 3, 4},
		{"abc", "xyz", 1, 2},
		{"ab", "ba", 0, 1},
	}
	for _, tt := range tests {
		if got := suggest.Distance(tt.a, tt.b, tt.most); got != tt.want {
			t.Errorf("Distance(%q, %q, %d) = %d, want %d", tt.a, tt.b, tt.most, got, tt.want)
		}
		if got := suggest.Distance(tt.b, tt.a, tt.most); got != tt.want {
			t.Errorf("Distance(%q, %q, %d) = %d, want %d", tt.b, tt.a, tt.most, got, tt.want)
		}
	}
}
