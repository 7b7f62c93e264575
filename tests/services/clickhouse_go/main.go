// Ask as Grafana's ClickHouse data source does: database/sql, HTTP and gzip of clickhouse-go.
// In: address, user, password, database, settings (JSON) as arguments; statements as JSON strings,
// one a line. Out: {"rows": [names, values...]} or {"error": text}, one a line.
package main

import (
	"bufio"
	"database/sql"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
)

func main() {
	settings := clickhouse.Settings{}
	must(json.Unmarshal([]byte(os.Args[5]), &settings))
	db := clickhouse.OpenDB(&clickhouse.Options{
		Addr:        []string{os.Args[1]},
		Auth:        clickhouse.Auth{Database: os.Args[4], Username: os.Args[2], Password: os.Args[3]},
		Compression: &clickhouse.Compression{Method: clickhouse.CompressionGZIP},
		DialTimeout: 10 * time.Second,
		ReadTimeout: 60 * time.Second,
		Protocol:    clickhouse.HTTP,
		Settings:    settings,
	})
	out := json.NewEncoder(os.Stdout)
	if err := db.Ping(); err != nil {
		must(out.Encode(map[string]any{"error": err.Error()}))
		return
	}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var statement string
		must(json.Unmarshal(lines.Bytes(), &statement))
		if rows, err := read(db, statement); err != nil {
			must(out.Encode(map[string]any{"error": err.Error()}))
		} else {
			must(out.Encode(map[string]any{"rows": rows}))
		}
	}
	must(lines.Err())
}

func read(db *sql.DB, statement string) ([][]string, error) {
	rows, err := db.Query(statement)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	found := [][]string{names}
	for rows.Next() {
		cells, pointers := make([]any, len(names)), make([]any, len(names))
		for i := range cells {
			pointers[i] = &cells[i]
		}
		if err := rows.Scan(pointers...); err != nil {
			return nil, err
		}
		row := make([]string, len(names))
		for i, cell := range cells {
			row[i] = fmt.Sprint(cell)
		}
		found = append(found, row)
	}
	return found, rows.Err()
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
