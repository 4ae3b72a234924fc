-- What a program keeps that has nothing to do with us.
CREATE TABLE customers (id {id}, name TEXT NOT NULL);
