package logging

import (
	"log/slog"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for levels, want := range map[string]slog.Level{
		"": slog.LevelInfo, "debug": slog.LevelDebug, "default:warn": slog.LevelWarn,
		"ads:debug,default:error": slog.LevelError, "ads:debug": slog.LevelInfo, "all:debug": slog.LevelDebug,
	} {
		if got, err := parse(levels); err != nil || got != want {
			t.Errorf("parse(%q) = %v, %v, want %v", levels, got, err, want)
		}
	}
	if _, err := parse("default:loud"); err == nil || !strings.Contains(err.Error(), "default:loud") {
		t.Errorf("err = %v", err)
	}
}

func TestNew(t *testing.T) {
	var b strings.Builder
	log, err := New(&b, Config{Levels: "default:warn", JSON: true})
	if err != nil {
		t.Fatal(err)
	}
	log.Info("quiet")
	log.Warn("heard", "k", 1)
	if out := b.String(); strings.Contains(out, "quiet") || !strings.Contains(out, `"msg":"heard","k":1`) {
		t.Errorf("log = %s", out)
	}
}
